# a saved guest that is cut short or damaged does not come back, and leaves nothing
# seconds 240
hello_config hello
create hello
wait_for 60 "first beat" beats_beyond /root/hello.serial 0
try xl save hello /root/hello.save
size=$(stat -c %s /root/hello.save)

refused() { # WHAT: the file /root/bad.save
    if timeout 100 xl restore /root/bad.save >"/root/$1.log" 2>&1; then
        fail "a saved guest that is $1 comes back"
    fi
    [ "${PIPESTATUS[0]}" = 124 ] && fail "the restore of a guest that is $1 hangs"
    wait_for 10 "end of the domain that is $1" is_gone hello
    note "$(tail -n 1 "/root/$1.log")"
}

# The device model's state is at the end.
head -c $((size - 20000)) /root/hello.save >/root/bad.save
refused cut
head -c $((size - 30000)) /root/hello.save >/root/bad.save
head -c 20000 /dev/urandom >>/root/bad.save
tail -c 10000 /root/hello.save >>/root/bad.save
refused damaged
rm -f /root/*.save
nothing_left
