"""The Redis family: what replicas share. Losing Redis loses no memory."""
