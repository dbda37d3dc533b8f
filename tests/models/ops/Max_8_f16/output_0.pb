
By0J
4º~AâµNAØº