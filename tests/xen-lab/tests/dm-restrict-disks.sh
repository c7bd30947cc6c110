# dm_restrict=1 with PV disks: 100 MB written and read back, saved, restored; who serves them has few rights, and ends
# seconds 1500
if [ "$MODEL" = stock ]; then
    note "not tried: the stock device model serves no PV disks then"
    return 0
fi
may() { # USER CAPABILITIES: whether the process found has these, and a filter
    local uid=${TEXT#*Uid:} caps=${TEXT#*CapPrm:}
    read -r uid _ <<<"$uid"
    read -r caps _ <<<"$caps"
    [ "$uid" = "$1" ] || fail "process $FOUND runs as user $uid"
    [ "$caps" = "$2" ] || fail "process $FOUND has capabilities $caps"
    [[ $TEXT == *Seccomp:$'\t'2* ]] || fail "process $FOUND has no seccomp filter"
}
helper() { # who serves the disks into HELPER, who opens them into OPENER, and that they hold and may do little
    process ailurus-pvdisks
    HELPER=$FOUND
    may $((131072 + ID)) 0000000000000000
    [ "$(readlink "/proc/$HELPER/root")" = "/run/xen/qemu-root-$ID" ] ||
        fail "its root is $(readlink "/proc/$HELPER/root")"
    ls -l "/proc/$HELPER/fd" >/root/helper-fds.log
    ! grep -q privcmd /root/helper-fds.log || fail "it holds privcmd"
    process ailurus-opener
    OPENER=$FOUND
    may 0 0000000000000002
    ls -l "/proc/$OPENER/fd" >/root/opener-fds.log
    ! grep -qE '/dev/xen|[.]img' /root/opener-fds.log || fail "it holds more than sockets: $(</root/opener-fds.log)"
    note "process $HELPER serves the PV disks with no rights, process $OPENER opens them"
}
no_helper() { # they have ended
    wait_for 5 "end of who served the disks" no_process "$HELPER"
    wait_for 5 "end of who opened them" no_process "$OPENER"
}
state_of() { # DEVICE PATTERN: whether the back end is there
    [[ $(xenstore-read "/local/domain/0/backend/qdisk/$ID/$1/state" 2>/dev/null) == $2 ]]
}

truncate -s 128M /root/data.img
linux_config linux 'dm_restrict=1'
sed -i '/^disk=/d' /root/linux.cfg
pv() { echo "format=raw,vdev=$1,access=rw,backendtype=qdisk,target=$2"; }
echo "disk=[\"$(pv hda /root/linux.img)\", \"$(pv xvdb /root/data.img)\"]" >>/root/linux.cfg
create_linux linux
helper
guest 30 '[ -b /dev/xvda ] && [ -b /dev/xvdb ]' || fail "no PV disks in the guest"
# The boot disk has passed from the emulated drive to the process, which is another one than the drive's.
guest 60 'head -c 4096 /dev/xvda | sha256sum' || fail "the guest cannot read its boot disk: $OUTPUT"
line=$(head -c 4096 /root/linux.img | sha256sum)
[ "${OUTPUT%% *}" = "${line%% *}" ] || fail "another boot disk: $OUTPUT, $line"
write_and_read /dev/xvdb
holds /root/data.img

# An image that is in use is not opened a second time.
try xl block-attach linux "$(pv xvdc /root/data.img)"
# The guest closes its side when the back end does, and then the back end is closed altogether.
wait_for 20 "refusal" state_of 51744 "[56]"
wait_text 5 /var/log/xen/qemu-dm-linux.log "data.img is in use by another process"
guest 20 '[ ! -e /dev/xvdc ]' || fail "the guest has the disk twice"
try xl block-detach linux xvdc

load /dev/xvdb
wait_for 120 "load" more_loops 0
try xl save linux /root/linux.save
no_helper
try xl restore -p /root/linux.save
look_up linux
listen linux
try xl unpause linux
settle
loops
wait_for 120 "load after the restore" more_loops "$LOOPS"
helper
xl migrate -s '' linux 'xl migrate-receive' >/root/migrate.log 2>&1 || fail "the migration fails with status $?"
no_helper
look_up linux
listen linux
settle
loops
wait_for 120 "load after the migration" more_loops "$LOOPS"
helper
"$AILURUS" inspect --monitor "unix:/var/run/xen/qmp-libxenstat-$ID" pv-disk >/root/pv-disk.log ||
    fail "nothing is told of the PV disks"
has /root/pv-disk.log "51728/" || fail "the disk is not told of: $(</root/pv-disk.log)"
# However the device model ends, nobody serves its disks any more.
kill -9 "$PID"
no_helper
try xl destroy linux

# An emulated disk is a file of more than the 256 KiB that libxl allows a restricted device model.
linux_config linux 'dm_restrict=1' 'xen_platform_pci=0'
sed -i '/^disk=/d' /root/linux.cfg
echo "disk=[\"$(pv hda /root/linux.img)\", \"$(pv hdb /root/data.img)\"]" >>/root/linux.cfg
create_linux linux
disk_at 0 1
guest 60 "dd if=/dev/urandom of=/tmp/part bs=1M count=4 2>/dev/null; dd if=/tmp/part of=$DISK bs=1M conv=fsync" ||
    fail "the guest cannot write to its emulated disk: $OUTPUT"
guest 60 'sha256sum </tmp/part' || fail "no checksum: $OUTPUT"
line=$(head -c 4194304 /root/data.img | sha256sum)
[ "${OUTPUT%% *}" = "${line%% *}" ] || fail "the guest wrote $OUTPUT, the image has $line"
helper
destroy linux
no_helper
rm -f /root/data.img /root/linux.save
nothing_left
