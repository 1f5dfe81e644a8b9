"""Files that make an overlay at boot, in the words of the tool that a host uses: one module for each tool."""
