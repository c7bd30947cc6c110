# a guest whose network card is PV alone (type=vif) starts: libxl asks the device model for none
# seconds 300
hello_config hello 'vif=["type=vif,bridge=xenbr0"]'
create hello
line=
while IFS= read -r -d '' word; do line+="$word "; done <"/proc/$PID/cmdline"
[[ $line == *"-net none "* && $line != *-netdev* ]] || fail "the device model is asked for something else: $line"
xenstore-exists "/local/domain/$ID/device/vif/0/mac" || fail "the guest has no PV network card"
wait_text 120 /root/hello.serial "HELLO from the boot sector"
destroy hello
nothing_left
