# five migrations to the same host: the guest goes on where it was
# seconds 420
hello_config hello
create hello
wait_for 60 "third beat" beats_beyond /root/hello.serial 2
for ((round = 1; round <= 5; round++)); do
    pid=$PID
    beats /root/hello.serial
    before=$BEATS
    try xl migrate -s '' hello 'xl migrate-receive' >/root/migrate-$round.log 2>&1
    look_up hello
    wait_for 1 "end of the old device model" no_process "$pid"
    wait_for 30 "beat after migration $round" beats_beyond /root/hello.serial "$before"
    [ "$BEATS" -lt $((before + 60)) ] || fail "the guest's count jumped from $before to $BEATS"
done
destroy hello
nothing_left
