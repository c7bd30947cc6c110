# A PV disk served by the device model, under Linux: a file in dom0's page cache, read and written past the guest's.
. /share/bench/figures.sh
truncate -s 64M /root/data.img
linux_config linux
sed -i '/^disk=/d' /root/linux.cfg
pv() { echo "format=raw,vdev=$1,access=rw,backendtype=qdisk,target=$2"; }
echo "disk=[\"$(pv hda /root/linux.img)\", \"$(pv xvdb /root/data.img)\"]" >>/root/linux.cfg
create_linux linux

timed_in_guest() { # COMMAND: how long it takes there, in hundredths of a second, into HUNDREDTHS
    guest 300 "read a x </proc/uptime; $1 2>/dev/null || exit 1; read b x </proc/uptime; echo from \$a to \$b." ||
        fail "the guest cannot \`$1\`: $OUTPUT"
    [[ $OUTPUT =~ from\ ([0-9]+).([0-9]+)\ to\ ([0-9]+).([0-9]+) ]] || fail "no time: $OUTPUT"
    HUNDREDTHS=$((10#${BASH_REMATCH[3]}${BASH_REMATCH[4]} - 10#${BASH_REMATCH[1]}${BASH_REMATCH[2]}))
}
rate() { # NAME MEGABYTES: in that time
    local rate=$(($2 * 10000 / HUNDREDTHS))
    printf 'figure %s %d.%02d\n' "$1" $((rate / 100)) $((rate % 100))
}
write='dd if=/dev/zero of=/dev/xvdb bs=1M count=64 oflag=direct'
read='dd if=/dev/xvdb of=/dev/null bs=1M count=64 iflag=direct'
# The first time makes the file.
timed_in_guest "$write"
timed_in_guest "$write 2>/dev/null && $write"
rate qdisk-write 128
timed_in_guest "$read 2>/dev/null && $read"
rate qdisk-read 128
timed_in_guest 'dd if=/dev/xvdb of=/dev/null bs=4k count=2000 iflag=direct'
figure qdisk-one $((2000 * 100 / HUNDREDTHS))
destroy linux
rm -f /root/data.img
