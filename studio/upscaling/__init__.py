"""Pictures made larger: the contract, the networks, their files, and the run by tiles."""
