
BbJ
Á~AâµNAØº