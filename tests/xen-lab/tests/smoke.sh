# the shortest that shows a whole domain: a boot sector, then Linux with its disk served to its PV driver
# seconds 600
hello_config hello
create hello
wait_text 120 /root/hello.serial "HELLO from the boot sector"
destroy hello

linux_config linux
create_linux linux
has /root/linux.serial "GUEST-USERLAND vcpus=1 " || fail "not one vCPU in the guest"
guest 20 '[ -b /dev/xvda ] && head -c 512 /dev/xvda | sha256sum' || fail "the guest's PV disk is not read: $OUTPUT"
read -r seen _ <<<"$OUTPUT"
line=$(head -c 512 /root/linux.img | sha256sum)
[ "$seen" = "${line%% *}" ] || fail "the guest reads $seen, the image has $line"
destroy linux
nothing_left
