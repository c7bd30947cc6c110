# kill -9 of the device model wedges nothing: xl destroy cleans up
# seconds 120
hello_config hello
create hello
wait_text 60 /root/hello.serial "HELLO from the boot sector"
kill -9 "$PID"
wait_for 5 "end of the device model" no_process "$PID"
nap 3
try timeout 60 xl destroy hello
is_gone hello || fail "the domain is still there"
nothing_left
