"""What runs outside the service's own process: the zygote, the jail around a program, and the program."""
