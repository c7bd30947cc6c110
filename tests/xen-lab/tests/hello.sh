# a boot sector speaks on the serial port, and xl destroy leaves nothing
# seconds 300
hello_config hello
create hello
wait_text 120 /root/hello.serial "HELLO from the boot sector"
wait_for 30 "second beat" beats_beyond /root/hello.serial 1
destroy hello
nothing_left
