# A PV disk served by the device model, under Linux: a file in dom0's page cache, read and written past the guest's.
. /share/bench/figures.sh
truncate -s 64M /root/data.img
linux_config linux
sed -i '/^disk=/d' /root/linux.cfg
pv() { echo "format=raw,vdev=$1,access=rw,backendtype=qdisk,target=$2"; }
echo "disk=[\"$(pv hda /root/linux.img)\", \"$(pv xvdb /root/data.img)\"]" >>/root/linux.cfg
create_linux linux

throughput qdisk /dev/xvdb 2000
destroy linux
rm -f /root/data.img
