	
BaJªÅi½`ÇaFMGHX¾æFpH