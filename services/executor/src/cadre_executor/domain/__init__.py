"""What a workflow is and how it runs, in no library's terms."""
