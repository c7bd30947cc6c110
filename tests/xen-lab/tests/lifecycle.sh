# pause, unpause, vcpu-set, trigger, reboot, shutdown and destroy do what they say
# seconds 480
hello_config hello
create hello
wait_for 60 "first beat" beats_beyond /root/hello.serial 0
try xl pause hello
is_state hello p || fail "a paused guest is $STATE"
nap 0.5
beats /root/hello.serial
before=$BEATS
nap 3
beats /root/hello.serial
[ "$BEATS" = "$before" ] || fail "a paused guest counts from $before to $BEATS"
try xl unpause hello
wait_for 20 "beat after unpause" beats_beyond /root/hello.serial "$before"
destroy hello

linux_config linux 'vcpus=1' 'maxvcpus=2'
create_linux linux
try xl vcpu-set --ignore-host linux 2
wait_for 20 "second vCPU in the guest" guest 20 '[ -d /sys/devices/system/cpu/cpu1 ]'
guest 30 'echo 1 >/sys/devices/system/cpu/cpu1/online; [ $(nproc) = 2 ]' || fail "the second vCPU does not start: $OUTPUT"
try xl trigger linux nmi
wait_for 20 "NMI in the guest" guest 20 'dmesg | grep -q "NMI: IOCK\|NMI received\|unknown NMI\|Uhhuh. NMI"'

# xl waits in the background for the guest's reboot and makes a new domain for it.
first=$ID
try xl reboot linux
restart linux "$first"
pid=$PID
try xl shutdown linux
wait_for 60 "end of the guest that was shut down" is_gone linux
wait_for 5 "end of its device model" no_process "$pid"

create_linux linux
pid=$PID
try xl trigger linux power
wait_text 30 /root/linux.serial GUEST-BUTTON
wait_for 60 "end of the guest that was switched off" is_gone linux
wait_for 5 "end of its device model" no_process "$pid"
nothing_left
