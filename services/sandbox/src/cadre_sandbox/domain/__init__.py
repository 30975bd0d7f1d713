"""What running a program means, in no library's terms."""
