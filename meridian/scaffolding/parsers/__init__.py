"""What names, ports and types on the command line mean, and what is wrong with them."""
