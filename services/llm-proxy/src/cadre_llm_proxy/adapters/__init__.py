"""One module per outside thing: litellm, the embedded model's process, the ledger's database."""
