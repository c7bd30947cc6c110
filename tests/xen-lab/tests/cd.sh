# a CD is read, ejected and changed under a running guest
# seconds 300
sum() { # FILE: of what is in it
    local line
    line=$(sha256sum <"$1")
    SUM=${line%% *}
}

for name in one two; do
    head -c 300000 /dev/urandom >/root/$name.iso
    truncate -s 327680 /root/$name.iso
done
linux_config linux
sed -i '/^disk=/d' /root/linux.cfg
hard='format=raw,vdev=hda,access=rw,backendtype=qdisk,target=/root/linux.img'
echo "disk=[\"$hard\", \"format=raw,vdev=hdc,access=ro,devtype=cdrom,target=/root/one.iso\"]" >>/root/linux.cfg
create_linux linux
sum /root/one.iso
guest 60 'sha256sum </dev/sr0' || fail "the guest reads no CD: $OUTPUT"
[[ $OUTPUT == $SUM* ]] || fail "the guest reads another CD than it has: $OUTPUT"
try xl cd-eject linux hdc
guest 60 'sha256sum </dev/sr0' && fail "the guest reads a CD that was ejected: $OUTPUT"
try xl cd-insert linux hdc /root/two.iso
sum /root/two.iso
guest 60 'sha256sum </dev/sr0; sha256sum </dev/sr0' || fail "the guest reads no new CD: $OUTPUT"
[[ $OUTPUT == *$SUM* ]] || fail "the guest does not read the new CD: $OUTPUT"
destroy linux
rm -f /root/*.iso
nothing_left
