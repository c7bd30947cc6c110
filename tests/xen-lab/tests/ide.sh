# Linux on the IDE controller, raw and qcow2: 100 MB written and read back; saved, restored and migrated while it writes
# seconds 2400
truncate -s 128M /root/data.img
try qemu-img create -q -f qcow2 /root/data.qcow2 128M
# Without the platform device the guest has no PV disks and keeps to the emulated ones.
linux_config linux 'xen_platform_pci=0'
sed -i '/^disk=/d' /root/linux.cfg
on() { echo "format=$3,vdev=$1,access=rw,backendtype=qdisk,target=$2"; }
disks=("$(on hda /root/linux.img raw)" "$(on hdb /root/data.img raw)" "$(on hdd /root/data.qcow2 qcow2)")
echo "disk=[\"${disks[0]}\", \"${disks[1]}\", \"${disks[2]}\"]" >>/root/linux.cfg
create_linux linux
disk_at 0 1
guest 20 '[ ! -e /dev/xvda ]' || fail "the guest is not on its IDE disks"
write_and_read "$DISK"
holds /root/data.img
disk_at 1 1
write_and_read "$DISK"
sum=$SUM

again() { # WHAT: the guest goes on with its load after that
    look_up linux
    listen linux
    settle
    loops
    wait_for 120 "load after $1" more_loops "$LOOPS"
}
# Behind what was written before: its first 100 MB stay.
load "$DISK" 1700
wait_for 120 "load" more_loops 0
try xl save linux /root/linux.save
try xl restore -p /root/linux.save
look_up linux
listen linux
try xl unpause linux
again "a restore"
for round in 1 2 3; do
    pid=$PID
    xl migrate -s '' linux 'xl migrate-receive' >/root/migrate-$round.log 2>&1 ||
        fail "migration $round fails with status $?"
    wait_for 1 "end of the old device model" no_process "$pid"
    again "migration $round"
done
guest 600 'echo 3 >/proc/sys/vm/drop_caches; head -c 104857600 '"$DISK"' | sha256sum' || fail "cannot read: $OUTPUT"
[[ $OUTPUT == "$sum"* ]] || fail "the qcow2 disk held $sum, now $OUTPUT"
destroy linux
try qemu-img check -q /root/data.qcow2
try qemu-img convert -O raw /root/data.qcow2 /root/data.img
SUM=$sum
holds /root/data.img
rm -f /root/linux.save /root/data.*
nothing_left
