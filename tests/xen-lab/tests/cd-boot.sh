# Linux from a CD, by hvmloader, SeaBIOS and a boot loader that read it port by port
# seconds 1800
linux_config linux 'boot="d"'
sed -i '/^disk=/d' /root/linux.cfg
echo 'disk=["format=raw,vdev=hdc,access=ro,devtype=cdrom,target=/srv/linux.iso"]' >>/root/linux.cfg
create linux -p
listen linux
try xl unpause linux
wait_text 1500 /root/linux.serial GUEST-READY
has /root/linux.serial "GUEST-USERLAND vcpus=1 " || fail "not one vCPU in the guest"
guest 60 'mount -t iso9660 -o ro /dev/sr0 /mnt && ls /mnt/boot' || fail "the guest does not read its CD: $OUTPUT"
[[ $OUTPUT == *vmlinuz* ]] || fail "another CD: $OUTPUT"
destroy linux
nothing_left
