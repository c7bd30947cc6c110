# The same on the emulated IDE controller: a guest without PV devices.
. /share/bench/figures.sh
truncate -s 64M /root/data.img
linux_config linux 'xen_platform_pci=0'
sed -i '/^disk=/d' /root/linux.cfg
on() { echo "format=raw,vdev=$1,access=rw,backendtype=qdisk,target=$2"; }
echo "disk=[\"$(on hda /root/linux.img)\", \"$(on hdb /root/data.img)\"]" >>/root/linux.cfg
create_linux linux
disk_at 0 1
throughput ide "$DISK" 400
destroy linux
rm -f /root/data.img
