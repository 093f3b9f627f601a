"""What is trained: a data set, a model and a criterion, as a full-batch loss of the weights."""
