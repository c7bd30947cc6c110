# PV disks served by the device model: 100 MB written and read back, attach and detach
# seconds 1500
truncate -s 128M /root/data.img
# With dm_restrict=1 an image that comes to lie right in /root once the guest runs is out of reach.
cp /srv/hello.img /root/extra.img
linux_config linux
sed -i '/^disk=/d' /root/linux.cfg
pv() { echo "format=raw,vdev=$1,access=rw,backendtype=qdisk,target=$2"; }
echo "disk=[\"$(pv hda /root/linux.img)\", \"$(pv xvdb /root/data.img)\"]" >>/root/linux.cfg
create_linux linux
guest 30 '[ -b /dev/xvda ] && [ -b /dev/xvdb ]' || fail "no PV disks in the guest"
write_and_read /dev/xvdb
holds /root/data.img

try xl block-attach linux "$(pv xvdc /root/extra.img)"
wait_for 20 "attached disk in the guest" guest 20 '[ -b /dev/xvdc ] && head -c 512 /dev/xvdc | grep -q HELLO'
try xl block-detach linux xvdc
wait_for 20 "end of the detached disk" guest 20 '[ ! -b /dev/xvdc ]'
destroy linux
rm -f /root/data.img /root/extra.img
nothing_left
