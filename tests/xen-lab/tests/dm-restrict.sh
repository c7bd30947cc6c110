# dm_restrict=1: the device model gives up root, its root folder and xenstore, and the guest runs, saves and restores
# seconds 600
# needs intruder
medium() { # BYTES: whether the CD drive has so many, 0 for none
    OUTPUT=$("$AILURUS" inspect --monitor "unix:/var/run/xen/qmp-libxenstat-$ID" device/ide) &&
        [[ $OUTPUT == *"medium: $1"$'\n'* ]]
}

head -c 204800 /dev/urandom >/root/one.iso
head -c 409600 /dev/urandom >/root/two.iso
hello_config hello dm_restrict=1
sed -i '/^disk=/d' /root/hello.cfg
hard='format=raw,vdev=hda,access=rw,backendtype=qdisk,target=/root/hello.img'
echo "disk=[\"$hard\", \"format=raw,vdev=hdc,access=ro,devtype=cdrom,target=/root/one.iso\"]" >>/root/hello.cfg
create hello
wait_text 120 /root/hello.serial "HELLO from the boot sector"
wait_for 30 "second beat" beats_beyond /root/hello.serial 1
restricted
if [ "$MODEL" = ailurus ]; then
    medium 204800 || fail "not the CD that was given: $OUTPUT"
    try xl cd-eject hello hdc
    medium 0 || fail "the CD is not ejected: $OUTPUT"
    try xl cd-insert hello hdc /root/two.iso
    medium 409600 || fail "not the new CD: $OUTPUT"
fi
# The stock device model opens the image anew after a restore, without the rights that it has given up.
if [ "$MODEL" = stock ]; then
    note "not restored: the stock device model cannot"
else
    try xl save hello /root/hello.save
    beats /root/hello.serial
    before=$BEATS
    rm -f /root/hello.serial
    try xl restore /root/hello.save
    look_up hello
    wait_for 30 "beat after restore" beats_beyond /root/hello.serial "$before"
    restricted
    medium 409600 || fail "another CD after the restore: $OUTPUT"
    rm -f /root/hello.save
fi
if [ "$MODEL" = ailurus ]; then
    # Somebody has taken the processes over. What ends them must not harm the host.
    : >>/etc/crontab
    process ailurus-pvdisks
    disks=$FOUND
    process ailurus-opener
    # Without the one that opens the other one closes what it has, if it can.
    kill -STOP "$disks"
    intrude "$FOUND" opener /root/hello.img
    intrude "$disks" disks /root/hello.img
    intrude "$PID" machine
    [ ! -s /etc/crontab ] || fail "/etc/crontab is written"
    try xl destroy hello
else
    destroy hello
fi
rm -f /root/*.iso
nothing_left
