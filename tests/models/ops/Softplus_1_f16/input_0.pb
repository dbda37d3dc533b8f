	
BaJö¿¹E)À§D92JZÌNKL