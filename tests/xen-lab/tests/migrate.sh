# five migrations to the same host, of a boot sector and of Linux while it writes: the guest goes on where it was
# seconds 1500
hello_config hello
create hello
wait_for 120 "third beat" beats_beyond /root/hello.serial 2
for ((round = 1; round <= 5; round++)); do
    pid=$PID
    beats /root/hello.serial
    before=$BEATS
    now
    left=$NOW
    try xl migrate -s '' hello 'xl migrate-receive' >/root/migrate-$round.log 2>&1
    look_up hello
    wait_for 1 "end of the old device model" no_process "$pid"
    wait_for 30 "beat after migration $round" beats_beyond /root/hello.serial "$before"
    now
    seconds=$(((NOW - left) / 1000))
    [ "$BEATS" -lt $((before + seconds + 30)) ] || fail "the guest's count jumped from $before to $BEATS in $seconds s"
done
destroy hello

truncate -s 16M /root/data.img
linux_config linux
sed -i '/^disk=/d' /root/linux.cfg
pv() { echo "format=raw,vdev=$1,access=rw,backendtype=qdisk,target=$2"; }
echo "disk=[\"$(pv hda /root/linux.img)\", \"$(pv xvdb /root/data.img)\"]" >>/root/linux.cfg
create_linux linux
guest 30 'head -c 8000000 /dev/urandom >/tmp/data; sha256sum </tmp/data' || fail "no data in the guest"
sum=$OUTPUT
load /dev/xvdb
for ((round = 1; round <= 5; round++)); do
    wait_for 120 "load in round $round" more_loops 0
    pid=$PID
    xl migrate -s '' linux 'xl migrate-receive' >/root/migrate-linux-$round.log 2>&1 ||
        fail "migration $round of Linux fails with status $?"
    look_up linux
    wait_for 1 "end of the old device model" no_process "$pid"
    listen linux
    settle
    loops
    wait_for 120 "load after migration $round" more_loops "$LOOPS"
done
same_as_before "five migrations" "$sum"
destroy linux
rm -f /root/data.img
nothing_left
