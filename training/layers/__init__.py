"""What network files share; its source goes into pickles with theirs."""
