# what xl gives a person: Cirrus, VNC, a USB tablet, HD Audio; Linux finds them, and the tablet points where the viewer does, saved and restored in between
# seconds 900
tablet() { # the guest's tablet, once its driver has it, into TABLET
    guest 60 "until grep -l 'USB Tablet' /sys/class/input/event*/device/name; do sleep 1; done" ||
        fail "no tablet in the guest: $OUTPUT"
    TABLET=${OUTPUT#*/sys/class/input/}
    TABLET=/dev/input/${TABLET%%/*}
    note "the tablet is $TABLET"
}

points() { # X Y EVENT: the viewer points there, and the guest hears that, as words of a `struct input_event`
    guest 20 "dd if=$TABLET of=/tmp/heard bs=24 2>/dev/null & echo \$! >/tmp/reader" || fail "no $TABLET: $OUTPUT"
    point "$((width / 2))" "$((height / 2))"
    nap 0.5
    point "$1" "$2"
    guest 60 "for n in 1 2 3 4 5 6 7 8 9; do hexdump -v /tmp/heard | grep '$3' && break; sleep 1; done; \
        hexdump -v /tmp/heard | grep -q '$3' || { hexdump -v /tmp/heard | tail -n 8; false; }" ||
        fail "the guest hears no $3: $OUTPUT"
    guest 20 'kill $(cat /tmp/reader)'
    note "the tablet points at $1, $2"
}

cp /srv/desk.img /root/linux.img
linux_config linux 'vnc=1' 'vnclisten="127.0.0.1"' 'vncunused=1' 'vga="cirrus"' 'usb=1' 'usbdevice="tablet"' \
    'soundhw="hda"'
create_linux linux
guest 20 'cat /sys/bus/pci/devices/*/class' || fail "no PCI bus: $OUTPUT"
for class in 0x030000 0x040300 0x0c0300; do
    [[ $OUTPUT == *$class* ]] || fail "no device of class $class: $OUTPUT"
done
guest 60 'until grep HDA /proc/asound/cards; do sleep 1; done' || fail "no sound card in the guest: $OUTPUT"
view
tablet
# Near the last of 0 to 32767 in each direction; EV_ABS, then ABS_X or ABS_Y.
points $((width - 1)) 0 '0003 0000 7f'
points 0 $((height - 1)) '0003 0001 7f'
exec 7>&-
try xl save linux /root/linux.save
restored
guest 20 'cat /proc/asound/cards' || fail "no sound card any more: $OUTPUT"
view
points $((width - 1)) 0 '0003 0000 7f'
exec 7>&-
destroy linux
nothing_left
