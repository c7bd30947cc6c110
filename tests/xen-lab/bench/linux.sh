# A PV disk served by the device model, under Linux: a file in dom0's page cache, read and written past the guest's.
. /share/bench/figures.sh
BYTES=67108864
truncate -s $BYTES /root/data.img
linux_config linux
sed -i '/^disk=/d' /root/linux.cfg
pv() { echo "format=raw,vdev=$1,access=rw,backendtype=qdisk,target=$2"; }
echo "disk=[\"$(pv hda /root/linux.img)\", \"$(pv xvdb /root/data.img)\"]" >>/root/linux.cfg
create_linux linux

copy() { # WHAT IT PRINTS: dd's seconds, in microseconds, into MICROSECONDS
    guest 300 "$1 2>&1" || fail "the guest cannot \`$1\`: $OUTPUT"
    [[ $OUTPUT =~ copied,\ ([0-9]+)\.([0-9]{6}) ]] || fail "dd says no time: $OUTPUT"
    MICROSECONDS=$((10#${BASH_REMATCH[1]}${BASH_REMATCH[2]}))
}
rate() { # NAME: of the bytes in that time
    local rate=$((BYTES * 100 / MICROSECONDS))
    printf 'figure %s %d.%02d\n' "$1" $((rate / 100)) $((rate % 100))
}
copy 'dd if=/dev/zero of=/dev/xvdb bs=1M count=64 oflag=direct'
copy 'dd if=/dev/zero of=/dev/xvdb bs=1M count=64 oflag=direct'
rate qdisk-write
copy 'dd if=/dev/xvdb of=/dev/null bs=1M count=64 iflag=direct'
rate qdisk-read
copy 'dd if=/dev/xvdb of=/dev/null bs=4k count=2000 iflag=direct'
figure qdisk-one $((2000 * 1000000 / MICROSECONDS))
destroy linux
rm -f /root/data.img
