# a guest without a disk boots from the network: hvmloader starts the card's option ROM, iPXE, which fetches a boot sector
# seconds 600
ip addr show dev xenbr0 | grep -q 10.9.0.1 || try ip addr add 10.9.0.1/24 dev xenbr0
mkdir -p /root/www
head -c 512 /srv/hello.img >/root/www/hello.0
printf '#!ipxe\nchain http://10.9.0.1:8000/hello.0\n' >/root/www/boot.ipxe
busybox httpd -f -p 10.9.0.1:8000 -h /root/www &
http=$!
: >/root/leases
cat >/root/udhcpd.conf <<'CONF'
start 10.9.0.20
end 10.9.0.30
interface xenbr0
lease_file /root/leases
pidfile /root/udhcpd.pid
boot_file http://10.9.0.1:8000/boot.ipxe
option subnet 255.255.255.0
CONF
busybox udhcpd -f /root/udhcpd.conf >/root/udhcpd.log 2>&1 &
dhcp=$!
for model in e1000 rtl8139; do
    hello_config hello 'boot="n"' "vif=[\"model=$model,bridge=xenbr0,script=vif-lab,mac=00:16:3e:00:00:44\"]"
    sed -i '/^disk=/d' /root/hello.cfg
    create hello
    wait_text 200 /root/hello.serial "HELLO from the boot sector"
    destroy hello
done
kill $http $dhcp
rm -rf /root/www /root/leases /root/udhcpd.*
nothing_left
