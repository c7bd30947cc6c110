# Linux, loaded by bus-master DMA, reaches userland with one vCPU and with two
# seconds 900
for vcpus in 1 2; do
    linux_config linux "vcpus=$vcpus"
    create_linux linux
    has /root/linux.serial "GUEST-USERLAND vcpus=$vcpus " || fail "not $vcpus vCPUs in the guest"
    guest 20 'grep -c ^processor /proc/cpuinfo' || fail "no shell in the guest"
    [[ $OUTPUT == $vcpus* ]] || fail "the guest counts $OUTPUT processors"
    destroy linux
done
nothing_left
