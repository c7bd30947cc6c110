# a saved guest that is cut short or damaged does not come back, and leaves nothing
# seconds 500
hello_config hello
create hello
wait_for 120 "first beat" beats_beyond /root/hello.serial 0
try xl save hello /root/hello.save
size=$(stat -c %s /root/hello.save)

refused() { # WHAT: the file /root/bad.save
    timeout 100 xl restore /root/bad.save >"/root/$1.log" 2>&1
    case $? in
    0)
        [ "$MODEL" = stock ] || fail "a saved guest that is $1 comes back"
        note "not with stock: a saved guest that is $1 comes back"
        try xl destroy hello
        ;;
    124) fail "the restore of a guest that is $1 hangs" ;;
    esac
    wait_for 10 "end of the domain that is $1" is_gone hello
    note "$(tail -n 1 "/root/$1.log")"
    [ "$MODEL" = stock ] || has /var/log/xen/qemu-dm-hello.log "it is damaged" || fail "the log does not say why"
}

# The device model's state is at the end. What a file lacks there libxl (4.17) takes for zeros, and hands them on: only
# checksums notice.
head -c $((size - 2000)) /root/hello.save >/root/bad.save
refused cut
head -c $((size - 3000)) /root/hello.save >/root/bad.save
head -c 1000 /dev/urandom >>/root/bad.save
tail -c 2000 /root/hello.save >>/root/bad.save
refused damaged
rm -f /root/*.save
nothing_left
