# an emulated network card comes and goes while Linux runs, and is there after save and restore: by the monitor, through xl
# seconds 900
monitor() { # COMMAND of the monitor for people; it must say nothing
    note "monitor: $1"
    OUTPUT=$(xl qemu-monitor-command linux "$1") || fail "\`$1\` fails with status $?"
    [ -z "${OUTPUT//[$'\r\n']/}" ] || fail "\`$1\`: $OUTPUT"
}

serve 8388608
emulated_card e1000 0x8086
monitor 'netdev_add tap,id=later,ifname=later,script=no,downscript=no'
try ip link set dev later master xenbr0 up
monitor 'device_add rtl8139,id=card,netdev=later,mac=00:16:3e:00:00:43'
guest 60 'until [ -e /sys/class/net/eth1 ]; do sleep 1; done; cat /sys/class/net/eth1/address' || fail "no card: $OUTPUT"
[[ $OUTPUT == *00:16:3e:00:00:43* ]] || fail "another card: $OUTPUT"
guest 20 'ifconfig eth0 down' || fail "the first card stays up: $OUTPUT"
card_up eth1 10.9.0.3
download "the card that came"
# Who restores says what came: libxl does not know of it.
extra='"-netdev","tap,id=later,ifname=later,script=no,downscript=no"'
extra+=',"-device","rtl8139,id=card,netdev=later,mac=00:16:3e:00:00:43"'
{
    cat /root/linux.cfg
    echo "device_model_args_hvm=[$extra]"
} >/root/more.cfg
try xl save linux /root/linux.save
try xl restore -p /root/more.cfg /root/linux.save
try ip link set dev later master xenbr0 up
look_up linux
listen linux
try xl unpause linux
settle
download "the card that came, after a restore"
monitor 'device_del card'
guest 60 'until [ ! -e /sys/class/net/eth1 ]; do sleep 1; done' || fail "the card stays: $OUTPUT"
monitor 'netdev_del later'
[ ! -e /sys/class/net/later ] || fail "the network's interface stays"
card_up
download "the first card"
destroy linux
rm -f /root/linux.save
serve_no_more
nothing_left
