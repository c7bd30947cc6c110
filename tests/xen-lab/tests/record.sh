# what xl's commands make of xenstore, dm_ops and QMP is the same with both device models
# seconds 300
hello_config hello 'vga="stdvga"' 'vnc=1' 'vnclisten="127.0.0.1"' 'maxvcpus=2' 'vcpus=1'
cp /srv/hello.img /root/second.img
cp /srv/hello.img /root/third.iso
one="format=raw,vdev=hda,access=rw,backendtype=qdisk,target=/root/hello.img"
two="format=raw,vdev=xvdb,access=rw,backendtype=qdisk,target=/root/second.img"
cd="format=raw,vdev=hdc,access=ro,devtype=cdrom,target=/root/third.iso"
sed -i "s|^disk=.*|disk=[\"$one\", \"$two\", \"$cd\"]|" /root/hello.cfg
step() { # COMMAND...: of xl's
    mark "$1"
    try xl "$@"
}
record
step create /root/hello.cfg
look_up hello
echo "$ID" >/root/domains.log
wait_for 120 "first beat" beats_beyond /root/hello.serial 0
step pause hello
step unpause hello
step save hello /root/hello.save
step restore /root/hello.save
look_up hello
echo "$ID" >>/root/domains.log
wait_for 30 "beat after restore" beats_beyond /root/hello.serial 0
mark destroy
destroy hello
recorded /root
rm -f /root/hello.save /root/second.img /root/third.iso
nothing_left
