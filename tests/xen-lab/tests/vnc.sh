# a VNC client sees the firmware's text and its boot menu, and its keys reach both the menu and the guest
# seconds 400
update() { # asks for the whole screen; how many bytes of it are not zero into LIT, of how many into TOTAL
    local rects w h
    printf '\3\0\0\0\0\0'"$SIZE" >&7
    bytes 4
    [ "${BYTES[0]}" = 0 ] || fail "message ${BYTES[0]} instead of an update"
    word 2
    rects=$WORD
    LIT=0
    TOTAL=0
    while [ "$rects" -gt 0 ]; do
        bytes 12
        [ "${BYTES[11]}" = 0 ] || fail "encoding ${BYTES[11]} instead of raw"
        word 4
        w=$WORD
        word 6
        h=$WORD
        TOTAL=$((TOTAL + w * h * 4))
        LIT=$((LIT + $(timeout 60 head -c $((w * h * 4)) <&7 | tr -d '\0' | wc -c)))
        rects=$((rects - 1))
    done
    note "${TOTAL} bytes of screen, $LIT of them not black"
}

said() { # TEXT: whether Xen's console has it
    local console
    console=$(xl dmesg)
    [[ $console == *"$1"* ]]
}

rm -f /root/hello.serial
[ -e /root/hello.img ] || cp /srv/hello.img /root/
[ -n "${DISPLAY_WORDS+x}" ] || DISPLAY_WORDS=('vga="stdvga"' 'videoram=16')
config hello 'memory=64' 'vnc=1' 'vnclisten="127.0.0.1"' 'vncunused=1' "${DISPLAY_WORDS[@]}" \
    'serial="file:/root/hello.serial"' "$(disk /root/hello.img)"
create hello -p
view
# Firmware says on Xen's console what it says on the screen.
xl dmesg -c >/dev/null
try xl unpause hello
wait_for 120 "firmware that offers its boot menu" said "Press ESC for boot menu"
press '\0\0\377\033'
wait_for 10 "boot menu" said "Select boot device"
update
[ $LIT -gt 1000 ] && [ $LIT -lt $((TOTAL / 2)) ] || fail "no text on the screen: $LIT of $TOTAL bytes are not black"
menu=$LIT
nap 4
has /root/hello.serial HELLO && fail "the guest began while the boot menu was shown"
press '\0\0\0001'
wait_text 30 /root/hello.serial "HELLO from the boot sector"
update
[ $LIT -gt $menu ] || fail "the guest's text is not on the screen"
wait_for 30 "first beat" beats_beyond /root/hello.serial 0
press '\0\0\0a'
wait_text 20 /root/hello.serial "key a"
exec 7>&-
destroy hello
nothing_left
