# Emulated network cards on dom0's bridge, under Linux: a file by TCP each way, small packets, pings, and how long the
# device model's threads run for it.
. /share/bench/figures.sh
MIB=4

ran() { # nanoseconds of the device model PID, into RAN
    local task time
    RAN=0
    for task in "/proc/$PID/task"/*/schedstat; do
        read -r time _ <"$task" && RAN=$((RAN + time))
    done
}

moved() { # NAME COMMAND: that moves so many MiB in the guest
    local before each
    ran
    before=$RAN
    timed_in_guest "$2"
    ran
    rate "$1" $MIB
    # A nanosecond a byte is a second a gigabyte.
    each=$(((RAN - before) * 100 / (MIB << 20)))
    printf 'figure %s-cpu %d.%02d\n' "$1" $((each / 100)) $((each % 100))
}

sink() { # takes what comes by TCP, once; with no end of what it sends, which would end the sender
    busybox nc -l -p 9000 <&9 >/dev/null &
    nap 1
}

packets() { # NAME CARD ADDRESS: of 64 bytes with their checksum, sent by the kernel as fast as the card takes them
    local set=/proc/net/pktgen/$2 word words=
    for word in 'count 2000' 'pkt_size 60' 'delay 0' "dst $3" "dst_mac $BRIDGE"; do words+="echo $word >$set; "; done
    guest 300 "echo rem_device_all >/proc/net/pktgen/kpktgend_0; echo add_device $2 >/proc/net/pktgen/kpktgend_0; $words \
        echo start >/proc/net/pktgen/pgctrl; cat $set" || fail "no packets: $OUTPUT"
    [[ $OUTPUT =~ ([0-9]+)pps ]] || fail "no packets are counted: $OUTPUT"
    figure "$1" "${BASH_REMATCH[1]}"
}

latency() { # NAME ADDRESS
    guest 300 "ping -A -q -c 100 $2" || fail "no answer to pings: $OUTPUT"
    [[ $OUTPUT =~ min/avg/max\ =\ [0-9.]+/([0-9]+)\.([0-9]+)/ ]] || fail "no time: $OUTPUT"
    figure "$1" $((10#${BASH_REMATCH[1]}${BASH_REMATCH[2]}))
}

measure() { # MODEL VENDOR NET
    guest 20 "cd /sys/class/net && grep -l $2 eth*/device/vendor" && [[ $OUTPUT =~ (eth[0-9]+)/ ]] || fail "no $1: $OUTPUT"
    local card=${BASH_REMATCH[1]}
    card_up "$card" "10.9.$3.2"
    guest 60 "ping -c 3 10.9.$3.1 >/dev/null" || fail "no answer by $1: $OUTPUT"
    moved "$1-down" "wget -q -O /dev/null http://10.9.$3.1:8000/sent"
    sink
    moved "$1-up" "dd if=/dev/zero bs=64k count=$((MIB * 16)) 2>/dev/null | nc 10.9.$3.1 9000"
    packets "$1-packets" "$card" "10.9.$3.1"
    latency "$1-ping" "10.9.$3.1"
    guest 20 "ifconfig $card down" || fail "$1 stays up: $OUTPUT"
}

on_bridge
ip addr show dev xenbr0 | grep -q 10.9.1.1 || try ip addr add 10.9.1.1/24 dev xenbr0
BRIDGE=$(</sys/class/net/xenbr0/address)
mkdir -p /root/www
head -c $((MIB << 20)) /dev/zero >/root/www/sent
busybox httpd -f -p 8000 -h /root/www &
cp /srv/cards.img /root/linux.img
card() { echo "model=$1,bridge=xenbr0,script=vif-lab,mac=00:16:3e:00:00:$2"; }
linux_config linux 'xen_platform_pci=0' "vif=[\"$(card e1000 42)\", \"$(card rtl8139 43)\"]"
create_linux linux
# A boot takes longer than these.
for turn in 1 2 3; do
    note "turn $turn"
    measure e1000 0x8086 0
    measure rtl8139 0x10ec 1
done
destroy linux
rm -rf /root/www
