# downloads by an emulated network card go on, with the right checksums, over `xl save`, `restore` and `migrate` in their midst
# seconds 2400
in_flight() { # a connection of 10.9.0.2's to the server, with bytes that the guest has not acknowledged
    local line
    while read -r line; do
        [[ $line == *" 0100090A:1F40 0200090A:"*" 01 "* && $line != *" 01 00000000:"* ]] && return
    done </proc/net/tcp
    false
}
one_more() { # WHAT: the download that was cut ends well, and another one after it
    loops
    wait_for 240 "download after $1" more_loops $((LOOPS + 1))
}
under_load() { # MODEL VENDOR
    local round
    emulated_card "$1" "$2"
    download_for_ever
    wait_for 120 "download" more_loops 0
    try xl save linux /root/linux.save
    in_flight || fail "no download was cut by the save"
    restored
    one_more "a restore with $1"
    for round in 1 2 3; do
        migrated
        one_more "migration $round with $1"
    done
    destroy linux
    rm -f /root/linux.save
}

serve 16777216
under_load e1000 0x8086
# Linux's 8139cp leaves receiver and interrupt on when it is suspended: a device model that interrupts before it resumes
# stops the guest. About every third migration with the stock one does.
[ "$MODEL" = stock ] || under_load rtl8139 0x10ec
serve_no_more
nothing_left
