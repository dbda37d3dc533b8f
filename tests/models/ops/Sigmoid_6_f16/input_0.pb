	
BaJ®GaÁD»;ÃZDs¾D>8SD