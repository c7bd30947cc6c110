# a second ioreq server lives beside the device model's: it takes ports and gives them back, and the guest goes on
# seconds 300
# needs second_server
hello_config hello
create hello
wait_for 120 "second beat" beats_beyond /root/hello.serial 1
# The serial port is the second one's for a while: the guest's beats go there.
/share/second_server "$ID" 1 64 0x3f8 0x3ff 8 >/root/second.log 2>&1
status=$?
while IFS= read -r line; do note "$line"; done </root/second.log
[ $status = 0 ] || fail "the second server ends with status $status"
has /root/second.log "beat 00" || fail "the second server heard no beat"
beats /root/hello.serial
before=$BEATS
wait_for 30 "beat by the first server" beats_beyond /root/hello.serial "$before"
[ "$BEATS" -gt $((before + 1)) ] || wait_for 30 "next beat" beats_beyond /root/hello.serial $((before + 1))
destroy hello
nothing_left
