# PV disks served by the device model: 100 MB written and read back, attach and detach
# seconds 1500
truncate -s 128M /root/data.img
linux_config linux
sed -i '/^disk=/d' /root/linux.cfg
pv() { echo "format=raw,vdev=$1,access=rw,backendtype=qdisk,target=$2"; }
echo "disk=[\"$(pv hda /root/linux.img)\", \"$(pv xvdb /root/data.img)\"]" >>/root/linux.cfg
create_linux linux
guest 30 '[ -b /dev/xvda ] && [ -b /dev/xvdb ]' || fail "no PV disks in the guest"
guest 60 'dd if=/dev/urandom of=/tmp/part bs=1M count=10 2>/dev/null' || fail "no data: $OUTPUT"
guest 400 'for i in 0 1 2 3 4 5 6 7 8 9; do cat /tmp/part; done | dd of=/dev/xvdb bs=1M conv=fsync 2>&1' ||
    fail "the guest cannot write: $OUTPUT"
note "${OUTPUT##*$'\n'1}"
guest 600 'echo 3 >/proc/sys/vm/drop_caches; head -c 104857600 /dev/xvdb | sha256sum' || fail "cannot read: $OUTPUT"
read -r seen _ <<<"$OUTPUT"
line=$(head -c 104857600 /root/data.img | sha256sum)
[ "$seen" = "${line%% *}" ] || fail "the guest reads $seen, the image has $line"
guest 60 'head -c 10485760 /dev/xvdb | cmp - /tmp/part' || fail "the disk holds other data than was written: $OUTPUT"

cp /root/hello.img /root/extra.img 2>/dev/null || cp /srv/hello.img /root/extra.img
try xl block-attach linux "$(pv xvdc /root/extra.img)"
wait_for 20 "attached disk in the guest" guest 20 '[ -b /dev/xvdc ] && head -c 512 /dev/xvdc | grep -q HELLO'
try xl block-detach linux xvdc
wait_for 20 "end of the detached disk" guest 20 '[ ! -b /dev/xvdc ]'
destroy linux
rm -f /root/data.img /root/extra.img
nothing_left
