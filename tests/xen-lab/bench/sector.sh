# What the boot sector that measures says, and its device model: start, idle, save, end. `figure NAME NUMBER` is a result.
. /share/bench/figures.sh
[ -e /root/bench.img ] || cp /share/bench.img /root/
config bench 'memory=64' 'vcpus=2' 'vnc=0' 'vga="stdvga"' 'serial="file:/root/bench.serial"' "$(disk /root/bench.img)"
rm -f /root/bench.serial
note_start bench
timed create try xl create /root/bench.cfg
look_up bench
started
wait_text 300 /root/bench.serial done
nap 2
resident
wakeups 10
timed_save bench
rm -f /root/dm
