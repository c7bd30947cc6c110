# a guest that is saved and restored goes on where it was: a boot sector, and Linux
# seconds 900
hello_config hello
create hello
wait_for 120 "third beat" beats_beyond /root/hello.serial 2
pid=$PID
try xl save hello /root/hello.save
wait_for 1 "end of the device model $pid" no_process "$pid"
is_gone hello || fail "a saved guest is still there"
beats /root/hello.serial
before=$BEATS
rm -f /root/hello.serial
try xl restore /root/hello.save
look_up hello
wait_for 30 "beat after restore" beats_beyond /root/hello.serial "$before"
has /root/hello.serial HELLO && fail "the guest began anew"
[ "$BEATS" -lt $((before + 30)) ] || fail "the guest's count jumped from $before to $BEATS"
destroy hello
rm -f /root/hello.save

linux_config linux 'vcpus=2'
create_linux linux
guest 30 'dd if=/dev/urandom of=/tmp/data bs=1M count=8 2>/dev/null; sha256sum </tmp/data' || fail "no data in the guest"
sum=$OUTPUT
try xl save linux /root/linux.save
try xl restore -p /root/linux.save
look_up linux
listen linux
try xl unpause linux
settle
same_as_before "restore" "$sum"
destroy linux
rm -f /root/linux.save
nothing_left
