	
BaJlAbB¨5I¾¸‹À-Àä>ôC