#!/bin/busybox sh
# First program on the disk guest. First boot: write pseudo-random data, note its SHA-256, reset the machine.
# Second boot: read it back, compare, switch off. `ailurus.mb=N` on the kernel command line changes the amount.
export PATH=/bin
mount -t proc proc /proc
mount -t sysfs sys /sys
mount -t devtmpfs dev /dev 2>/dev/null
mount -o remount,rw /
megabytes=200
for word in $(cat /proc/cmdline); do
    case $word in ailurus.mb=*) megabytes=${word#ailurus.mb=} ;; esac
done
if [ ! -e /data.sha256 ]; then
    rm -f /data
    echo "AILURUS-DISK-WRITE $megabytes MB"
    wrote=0
    while [ $wrote -lt $megabytes ]; do
        dd if=/dev/urandom bs=1M count=10 2>/dev/null >>/data || { echo "AILURUS-DISK-BAD write"; poweroff -f; }
        wrote=$((wrote + 10))
        echo "AILURUS-DISK-WROTE $wrote MB"
    done
    sha256sum /data >/data.sum && mv /data.sum /data.sha256
    sync
    echo "AILURUS-DISK-REBOOT $(cat /data.sha256)"
    reboot -f
fi
if sha256sum -c /data.sha256; then
    echo "AILURUS-DISK-OK $(cat /data.sha256)"
else
    echo "AILURUS-DISK-BAD the data read back differ"
fi
sync
mount -o remount,ro /
poweroff -f
while :; do sleep 3600; done
