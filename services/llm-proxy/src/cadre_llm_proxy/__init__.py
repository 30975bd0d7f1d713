"""The only piece that talks to models; meters and limits them."""
