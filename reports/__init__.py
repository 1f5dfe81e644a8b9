"""What a run leaves behind: the verdict, the page, the data and the summary."""
