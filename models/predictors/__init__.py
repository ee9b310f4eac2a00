"""How a model is run: on a device, from weights or a program."""
