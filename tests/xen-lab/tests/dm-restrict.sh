# dm_restrict=1: the device model gives up root, its root folder and xenstore, and the guest runs, saves and restores
# seconds 240
restricted() { # what the kernel says of the process
    slurp "/proc/$PID/status"
    local uid=${TEXT#*Uid:} caps=${TEXT#*CapEff:}
    read -r uid _ <<<"$uid"
    read -r caps _ <<<"$caps"
    [ "$uid" = $((131072 + ID)) ] || fail "the device model runs as user $uid"
    [ "$caps" = 0000000000000000 ] || fail "the device model has capabilities $caps"
    [ "$(readlink "/proc/$PID/root")" = "/run/xen/qemu-root-$ID" ] || fail "its root is $(readlink "/proc/$PID/root")"
    ls -l "/proc/$PID/fd" >/root/fds.log
    ! grep -q xenstored /root/fds.log || fail "it holds xenstore's socket"
    note "restricted: user $uid, no capabilities, $(wc -l </root/fds.log) descriptors"
    [ "$MODEL" = stock ] && return
    [[ $TEXT == *Seccomp:$'\t'2* ]] || fail "no seccomp filter"
}

hello_config hello dm_restrict=1
create hello
wait_text 60 /root/hello.serial "HELLO from the boot sector"
wait_for 30 "second beat" beats_beyond /root/hello.serial 1
restricted
# The chroot cannot reach the log any more; what matters is that the count goes on.
try xl save hello /root/hello.save
beats /root/hello.serial
before=$BEATS
rm -f /root/hello.serial
try xl restore /root/hello.save
look_up hello
wait_for 30 "beat after restore" beats_beyond /root/hello.serial "$before"
restricted
destroy hello
rm -f /root/hello.save
# libxl leaves the folders that it made for the chroot.
rm -rf /run/xen/qemu-root-*
nothing_left
