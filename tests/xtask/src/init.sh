#!/bin/busybox sh
# First program of the test guests. The kernel command line says what to do once userland is reached:
#   ailurus=poweroff   print the marker, switch off by ACPI (the default)
#   ailurus=shell      a shell on the console; leaving it switches off
#   ailurus=reboot     print the marker, reset the machine
#   ailurus=idle       print the marker and sleep
#   ailurus=disk       continue with /sbin/init of the disk named by root=
/bin/busybox mkdir -p /proc /sys /dev /tmp /root /mnt
/bin/busybox mount -t proc proc /proc
/bin/busybox mount -t sysfs sys /sys
/bin/busybox mount -t devtmpfs dev /dev 2>/dev/null
/bin/busybox --install -s /bin
export PATH=/bin HOME=/root PS1='ailurus:\w\$ '
todo=poweroff
root=/dev/sda1
for word in $(cat /proc/cmdline); do
    case $word in
        ailurus=*) todo=${word#ailurus=} ;;
        root=*) root=${word#root=} ;;
    esac
done
for module in /modules/*; do
    [ -e "$module" ] && insmod "$module"
done
echo "AILURUS-USERLAND-OK cpus=$(nproc) memory=$(awk '/^MemTotal/ { print $2 }' /proc/meminfo)kB $(uname -a)"
case $todo in
    disk)
        tries=0
        while [ ! -b "$root" ] && [ $tries -lt 300 ]; do
            sleep 0.1
            tries=$((tries + 1))
        done
        mount -t ext4 "$root" /mnt && exec switch_root /mnt /sbin/init
        echo "AILURUS-DISK-BAD no root file system on $root"
        poweroff -f
        ;;
    shell)
        echo
        echo "This is a shell in the guest. \`poweroff -f\` or the end of the shell switches the guest off."
        cd /root
        setsid cttyhack sh
        poweroff -f
        ;;
    reboot) reboot -f ;;
    idle) ;;
    *) poweroff -f ;;
esac
while :; do sleep 3600; done
