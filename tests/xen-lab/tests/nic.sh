# network cards of xl's: emulated (rtl8139, which is xl's usual one, and e1000), and unplugged for the PV one by its drivers
# seconds 1800
ip addr show dev xenbr0 | grep -q 10.9.0.1 || try ip addr add 10.9.0.1/24 dev xenbr0
mkdir -p /root/www
head -c 8388608 /dev/urandom >/root/www/sent
read -r sum _ <<<"$(sha256sum /root/www/sent)"
busybox httpd -f -p 10.9.0.1:8000 -h /root/www &
server=$!

download() { # WHAT: the guest gets 8 MB over the bridge, with the right checksum
    guest 120 'ping -c 3 10.9.0.1 >/dev/null && wget -q -O - http://10.9.0.1:8000/sent | sha256sum' || fail "$1: $OUTPUT"
    [[ $OUTPUT == *"$sum"* ]] || fail "$1: $sum was sent, $OUTPUT came"
    note "$1: 8 MB came"
}

up() { # the guest's card gets its address
    guest 60 'until ifconfig eth0 10.9.0.2 netmask 255.255.255.0 up 2>/dev/null; do sleep 1; done' || fail "no card: $OUTPUT"
}

again() { # WHAT: the guest is there again after that, and its card with it
    look_up linux
    listen linux
    settle
    download "after $1"
}

emulated() { # MODEL VENDOR: a guest that has nothing but the emulated card
    # Without the platform device there is nothing to unplug by.
    cp /srv/cards.img /root/linux.img
    linux_config linux 'xen_platform_pci=0' "vif=[\"${1:+model=$1,}bridge=xenbr0,script=vif-lab,mac=00:16:3e:00:00:42\"]"
    create_linux linux
    [ -e "/sys/class/net/vif$ID.0-emu" ] || fail "no tap interface of domain $ID"
    up
    guest 20 'cat /sys/class/net/eth0/device/vendor /sys/class/net/eth0/address' || fail "no card: $OUTPUT"
    [[ $OUTPUT == "$2"*00:16:3e:00:00:42* ]] || fail "another card: $OUTPUT"
    download "${1:-the usual card}"
}

emulated e1000 0x8086
destroy linux
emulated '' 0x10ec
try xl save linux /root/linux.save
try xl restore -p /root/linux.save
look_up linux
listen linux
try xl unpause linux
again "a restore"
xl migrate -s '' linux 'xl migrate-receive' >/root/migrate.log 2>&1 || fail "the migration fails with status $?"
again "a migration"
destroy linux

cp /srv/linux.img /root/linux.img
linux_config linux 'vif=["bridge=xenbr0,script=vif-lab"]'
create_linux linux
up
guest 20 '! grep -l 0x0200 /sys/bus/pci/devices/*/class && readlink /sys/class/net/eth0/device/driver' ||
    fail "the emulated card is still there: $OUTPUT"
[[ $OUTPUT == */vif* ]] || fail "no PV card: $OUTPUT"
download "the PV card"
try xl save linux /root/linux.save
try xl restore -p /root/linux.save
look_up linux
listen linux
try xl unpause linux
again "a restore of the PV card's guest"
destroy linux
kill $server
rm -rf /root/linux.save /root/www
nothing_left
