# as many vCPUs as Xen gives an HVM guest
# seconds 600
hello_config hello 'vcpus=128'
create hello
wait_for 400 "first beat" beats_beyond /root/hello.serial 0
count=$(xl vcpu-list hello | grep -c '^hello')
[ "$count" = 128 ] || fail "the guest has $count vCPUs"
destroy hello
nothing_left
